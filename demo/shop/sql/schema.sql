-- Unlogged: the shop is made anew for each run, and its load should not be that of a write-ahead log.
CREATE UNLOGGED TABLE products (
    id           integer PRIMARY KEY,
    category     text NOT NULL,
    noun         text NOT NULL,
    title        text NOT NULL,
    price_cents  integer NOT NULL CHECK (price_cents > 0),
    popularity   integer NOT NULL
);
CREATE UNLOGGED TABLE reviews (
    product_id   integer NOT NULL,
    customer_id  integer NOT NULL,
    stars        smallint NOT NULL CHECK (stars BETWEEN 1 AND 5)
);
CREATE UNLOGGED TABLE purchases (
    basket_id    integer NOT NULL,
    product_id   integer NOT NULL
);
CREATE UNLOGGED TABLE cart_items (
    customer_id  integer NOT NULL,
    product_id   integer NOT NULL,
    quantity     integer NOT NULL CHECK (quantity > 0),
    price_cents  integer NOT NULL,
    category     text NOT NULL,
    PRIMARY KEY (customer_id, product_id)
);
CREATE UNLOGGED TABLE orders (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id  integer NOT NULL,
    total_cents  integer NOT NULL,
    payment_id   text NOT NULL,
    placed_at    timestamptz NOT NULL DEFAULT now()
);
