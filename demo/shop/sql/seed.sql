-- The same rows each time: 80,000 products, 240,000 reviews, 160,000 past baskets of four. Nearly
-- nine tenths of what was bought are the 120 products on offer, so what was bought with one of them takes
-- a join over thousands of baskets to say: the answer that the catalogue keeps in its cache.
INSERT INTO products
SELECT i,
       (ARRAY['kitchen', 'garden', 'lighting', 'bath', 'office', 'toys', 'tools', 'textiles', 'travel', 'sport'])[1 + i % 10],
       (ARRAY['kettle', 'lamp', 'chair', 'basket', 'shelf', 'bottle', 'blanket', 'mirror', 'clock', 'hammer', 'towel', 'tray', 'vase'])[1 + i % 13],
       (ARRAY['Copper', 'Oak', 'Linen', 'Steel', 'Glass', 'Cork', 'Wool'])[1 + i % 7] || ' '
           || (ARRAY['kettle', 'lamp', 'chair', 'basket', 'shelf', 'bottle', 'blanket', 'mirror', 'clock', 'hammer', 'towel', 'tray', 'vase'])[1 + i % 13]
           || ' No. ' || i,
       250 + (i::bigint * 7919 % 20000)::integer,
       CASE WHEN i <= 120 THEN 200000 - i ELSE (i::bigint * 104729 % 100000)::integer END
FROM generate_series(1, 80000) AS i;

INSERT INTO reviews
SELECT 1 + (i::bigint * 7919 % 80000)::integer, i % 5000, 1 + (i::bigint * 31 % 5)::integer
FROM generate_series(1, 240000) AS i;

INSERT INTO purchases
SELECT basket,
       CASE WHEN hashint4(basket * 5 + item) & 1023 < 900
            THEN 1 + (hashint4(basket * 7 + item) & 2147483647) % 120
            ELSE 1 + (hashint4(basket * 11 + item) & 2147483647) % 80000 END
FROM generate_series(1, 160000) AS basket, generate_series(1, 4) AS item;
