CREATE INDEX products_by_category ON products (category, popularity DESC);
CREATE INDEX products_by_noun ON products (noun, popularity DESC);
CREATE INDEX reviews_by_product ON reviews (product_id);
CREATE INDEX purchases_by_product ON purchases (product_id);
CREATE INDEX purchases_by_basket ON purchases (basket_id);
ANALYZE products, reviews, purchases;
