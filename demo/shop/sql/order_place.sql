INSERT INTO orders (customer_id, total_cents, payment_id) VALUES ($1, $2, $3) RETURNING id
