"""The report of a sweep: its trials as CSV, tables, figures and one HTML page."""

from ptv2_scale.sweep.report.write import write_report

__all__ = ["write_report"]
