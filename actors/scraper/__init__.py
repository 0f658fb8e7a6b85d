"""The scraper: fetches expositions of the targets that discovery finds, and hands them to the gateway."""
