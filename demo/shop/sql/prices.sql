SELECT id, title, price_cents, category FROM products WHERE id = ANY($1::integer[])
