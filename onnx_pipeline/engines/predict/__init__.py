"""The engine `predict`: a Synapse dedicated SQL pool runs the model by T-SQL's PREDICT."""
