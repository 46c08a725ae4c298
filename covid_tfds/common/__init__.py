"""What all three packages use: errors, commands, files, progress, logs. No TensorFlow."""
