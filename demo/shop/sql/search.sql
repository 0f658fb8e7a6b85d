SELECT p.id, p.title, p.price_cents, r.stars, r.reviews
FROM (SELECT id, title, price_cents, popularity FROM products
      WHERE noun = $1 ORDER BY popularity DESC LIMIT 16) AS p
LEFT JOIN LATERAL (SELECT round(avg(stars), 1)::float8 AS stars, count(*) AS reviews
                   FROM reviews WHERE product_id = p.id) AS r ON true
ORDER BY p.popularity DESC
