"""What a reader sees: style, figures, tables, pages, reports."""
