SELECT product_id, quantity, price_cents, category FROM cart_items WHERE customer_id = $1 ORDER BY product_id
