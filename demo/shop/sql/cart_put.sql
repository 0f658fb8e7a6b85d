INSERT INTO cart_items (customer_id, product_id, quantity, price_cents, category)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (customer_id, product_id) DO UPDATE
SET quantity = least(cart_items.quantity + excluded.quantity, 9), price_cents = excluded.price_cents
