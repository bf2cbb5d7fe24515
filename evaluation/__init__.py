"""What is measured and how it is shown: protocol, metrics, tables, figures, report. No models run here."""
