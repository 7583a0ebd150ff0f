"""One self-contained page that shows what the recogniser heard, for every hearing profile."""

from hearing_analysis.dashboard.build import DashboardReport, build_dashboard

__all__ = ["DashboardReport", "build_dashboard"]
