"""Write report.html, MODEL_CARD.md, plots and terminal text of a run."""
