"""What is worth looking at first, found automatically: weak groups, domain gaps, doubtful data."""

from hearing_analysis.insights.domains import DomainGap, domain_gaps
from hearing_analysis.insights.duplicates import DuplicatePairs, find_duplicates
from hearing_analysis.insights.slices import WeakGroup, weak_groups
from hearing_analysis.insights.transcripts import DoubtfulTranscript, doubtful_transcripts

__all__ = [
    "DomainGap",
    "DoubtfulTranscript",
    "DuplicatePairs",
    "WeakGroup",
    "domain_gaps",
    "doubtful_transcripts",
    "find_duplicates",
    "weak_groups",
]
