"""What stands beside a MIDI file: sound, piano roll, score; the page; what TensorBoard shows."""
