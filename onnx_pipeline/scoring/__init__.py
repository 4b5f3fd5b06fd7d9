"""The work itself, free of Dagster: plan, extract, predict, load; and what is pending."""
