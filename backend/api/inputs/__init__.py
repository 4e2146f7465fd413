"""What handlers are given: who asks, ids, paging, filters, conditions."""
