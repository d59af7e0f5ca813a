"""The operator's terminal while recording: keys, cues, and the line that tells how it goes."""
