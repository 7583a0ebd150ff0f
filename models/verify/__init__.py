"""Look at an exported model as the platform would get it, and judge it."""

from models.verify.report import VerifyReport
from models.verify.verify import VerifySettings, verify_model

__all__ = ["VerifyReport", "VerifySettings", "verify_model"]
