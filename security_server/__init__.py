"""An agency's gateway: the walk, its ledger, its access rights."""
