"""What a run says of itself: report.html, MODEL_CARD.md."""
