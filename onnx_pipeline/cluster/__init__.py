"""What a cluster's tasks do with a slice, and how they are told.

Free of pools and of what they need: Arrow, NumPy and ONNX Runtime suffice where a task runs.
"""
