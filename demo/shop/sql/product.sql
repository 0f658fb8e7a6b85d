SELECT p.id, p.title, p.price_cents, p.category, p.noun,
       (SELECT round(avg(stars), 1)::float8 FROM reviews WHERE product_id = p.id) AS stars,
       ARRAY(SELECT other.product_id
             FROM purchases AS this JOIN purchases AS other USING (basket_id)
             WHERE this.product_id = p.id AND other.product_id <> p.id
             GROUP BY other.product_id ORDER BY count(*) DESC, other.product_id LIMIT 6) AS bought_with
FROM products AS p
WHERE p.id = $1
