"""A database as people have them, and its dumps in all of pg_dump's forms."""

import os
import subprocess
from pathlib import Path

from infra.local.postgres import programs

SCHEMA = """
CREATE ROLE shop_owner;
CREATE EXTENSION hstore;
CREATE TYPE public.rating AS ENUM ('G', 'PG');
CREATE DOMAIN public.year AS integer CHECK (VALUE > 1900);
CREATE FUNCTION public.touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.last_update := CURRENT_TIMESTAMP;
  RETURN NEW;
END $$;
CREATE FUNCTION public.one() RETURNS integer LANGUAGE sql
BEGIN ATOMIC
  SELECT 1;
END;
CREATE TABLE public.film (
  film_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  title text NOT NULL, rated public.rating, released public.year,
  features text[], attributes hstore, words tsvector, cover bytea,
  last_update timestamptz NOT NULL DEFAULT now());
CREATE TRIGGER touched BEFORE UPDATE ON public.film
  FOR EACH ROW EXECUTE FUNCTION public.touch();
CREATE TABLE public.film_actor (
  actor_id integer, film_id integer REFERENCES public.film, updated_at timestamp,
  PRIMARY KEY (actor_id, film_id));
CREATE TABLE public.payment (
  payment_id integer NOT NULL, payment_date timestamptz NOT NULL, amount numeric(5,2),
  PRIMARY KEY (payment_date, payment_id)) PARTITION BY RANGE (payment_date);
CREATE TABLE public.payment_old PARTITION OF public.payment
  FOR VALUES FROM (MINVALUE) TO ('2022-01-01');
CREATE TABLE public.payment_new PARTITION OF public.payment
  FOR VALUES FROM ('2022-01-01') TO (MAXVALUE);
CREATE TABLE public.log (line text, logged_at timestamptz);
CREATE TABLE public.country (code text PRIMARY KEY, founded date);
CREATE VIEW public.titles AS SELECT title FROM public.film;
ALTER TABLE public.film OWNER TO shop_owner;
GRANT SELECT ON public.payment TO shop_owner;
INSERT INTO public.film (title, rated, released, features, attributes, words, cover,
    last_update)
  SELECT 'film' || g || E'\\n\\t\\\\', 'PG', 2000, ARRAY['a', NULL], 'k=>v',
    to_tsvector('a film'), '\\x00ff', now() - interval '1 day'
  FROM generate_series(1, 50) AS g;
INSERT INTO public.film_actor SELECT g, g, now() - interval '1 day'
  FROM generate_series(1, 50) AS g;
INSERT INTO public.payment SELECT g, '2021-12-01'::timestamptz + g * interval '1 day', g
  FROM generate_series(1, 60) AS g;
INSERT INTO public.log VALUES ('GRANT', now());
"""


def psql(dsn: str, text: str) -> None:
    """Run a script."""
    subprocess.run(
        [programs() / "psql", "-Xqv", "ON_ERROR_STOP=1", dsn],
        input=text.encode(),
        check=True,
        timeout=60,
        stdout=subprocess.DEVNULL,
    )


def dump(dsn: str, form: str, path: Path) -> Path:
    """Write a dump: `plain`, `custom`, `tar` or `directory`."""
    subprocess.run(
        [programs() / "pg_dump", f"--format={form}", f"--file={path}", dsn],
        check=True,
        timeout=60,
        env={"PATH": os.environ["PATH"]},
    )
    return path
