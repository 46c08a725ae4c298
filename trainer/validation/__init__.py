"""Cross-validation, shortcut controls and verdict, Grad-CAM, external validation."""
