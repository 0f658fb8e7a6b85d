SELECT id FROM products ORDER BY popularity DESC LIMIT $1
