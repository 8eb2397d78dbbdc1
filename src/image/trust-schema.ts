/**
 * The tables of trust in `state.db`, as they came to be: a step of its migrations, so it is never edited.
 *
 * `image_origin` is where an image came from, `image_signature` what was fetched with it, `image_trust` which demands it has met, and when.
 * Rows are written before the image's own, which comes last of all in a pull, and go with it.
 */
export const TRUST_SCHEMA = `
CREATE TABLE image_origin (
  image TEXT NOT NULL,
  origin TEXT NOT NULL,
  seen_ms INTEGER NOT NULL,
  PRIMARY KEY (image, origin)
) STRICT, WITHOUT ROWID;
CREATE TABLE image_signature (
  image TEXT NOT NULL,
  manifest TEXT NOT NULL,
  kind TEXT NOT NULL,
  subject TEXT NOT NULL,
  number INTEGER NOT NULL,
  bytes BLOB NOT NULL,
  PRIMARY KEY (image, manifest, kind, subject, number)
) STRICT;
CREATE TABLE image_trust (
  image TEXT NOT NULL,
  manifest TEXT NOT NULL,
  origin TEXT NOT NULL,
  basis TEXT NOT NULL,
  decided_ms INTEGER NOT NULL,
  PRIMARY KEY (image, manifest, origin)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER image_trust_goes AFTER DELETE ON image BEGIN
  DELETE FROM image_origin WHERE image = OLD.digest;
  DELETE FROM image_signature WHERE image = OLD.digest;
  DELETE FROM image_trust WHERE image = OLD.digest;
END`
