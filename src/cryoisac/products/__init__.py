"""What a run leaves for others: averages, tables, their order."""
