"""What handlers are handed: who asks, ids, paging, filters, conditions."""
