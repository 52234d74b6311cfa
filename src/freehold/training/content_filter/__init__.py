"""How the content filter's classifier is trained: data, features, heads, calibration, export, evaluation."""
