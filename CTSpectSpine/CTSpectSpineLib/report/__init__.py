"""Pictures and the page: what a person reads about an analysis."""

from CTSpectSpineLib.report.page import write_report
from CTSpectSpineLib.report.pdf import write_pdf
from CTSpectSpineLib.report.pictures import draw_pictures

__all__ = ["draw_pictures", "write_pdf", "write_report"]
