"""report.html: page, sections, figures."""
