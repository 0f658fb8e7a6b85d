DELETE FROM cart_items WHERE customer_id = $1
