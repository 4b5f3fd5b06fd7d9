"""Engines that SQL Server runs in processes beside its own: `sp_execute_external_script` over the rows of a slice."""
