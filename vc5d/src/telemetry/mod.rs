//! Metrics over HTTP, filled from the newest snapshot at each scrape.
