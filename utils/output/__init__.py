"""Output beside a MIDI file (sound, piano roll, score), the web page, and the logs for TensorBoard."""
