/**
 * The tables of images in `state.db`, as they came to be: a step of its migrations, so it is never edited. What follows is a further step.
 *
 * `image` is a target (an index or a manifest), `image_manifest` each platform of it that is here, `image_content` all that must stay
 * for its sake, `container_content` all that must stay for a container's. A lease keeps what is coming in; it counts while its process lives.
 * `transfer` says who is bringing in which blob, so that of two pulls at once one does.
 */
export const IMAGE_SCHEMA = `
CREATE TABLE image (
  digest TEXT PRIMARY KEY,
  media_type TEXT NOT NULL,
  size_bytes INTEGER NOT NULL,
  pulled_ms INTEGER NOT NULL,
  used_ms INTEGER NOT NULL,
  pinned INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE TABLE image_name (
  name TEXT PRIMARY KEY,
  digest TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX image_name_digest ON image_name (digest);
CREATE TABLE image_manifest (
  image TEXT NOT NULL,
  digest TEXT NOT NULL,
  platform TEXT NOT NULL,
  config_digest TEXT NOT NULL,
  created_ms INTEGER,
  layers TEXT NOT NULL,
  labels TEXT NOT NULL,
  PRIMARY KEY (image, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX image_manifest_config ON image_manifest (config_digest);
CREATE TABLE image_content (
  image TEXT NOT NULL,
  kind TEXT NOT NULL,
  digest TEXT NOT NULL,
  size_bytes INTEGER NOT NULL,
  PRIMARY KEY (image, kind, digest)
) STRICT, WITHOUT ROWID;
CREATE TABLE container_content (
  container TEXT NOT NULL,
  kind TEXT NOT NULL,
  digest TEXT NOT NULL,
  PRIMARY KEY (container, kind, digest)
) STRICT, WITHOUT ROWID;
CREATE TABLE lease (
  id INTEGER PRIMARY KEY,
  pid INTEGER NOT NULL,
  start_ticks INTEGER NOT NULL,
  purpose TEXT NOT NULL,
  created_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE lease_item (
  lease INTEGER NOT NULL,
  kind TEXT NOT NULL,
  digest TEXT NOT NULL,
  PRIMARY KEY (lease, kind, digest)
) STRICT, WITHOUT ROWID;
CREATE TABLE transfer (
  digest TEXT PRIMARY KEY,
  owner TEXT NOT NULL,
  pid INTEGER NOT NULL,
  start_ticks INTEGER NOT NULL,
  beat_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
`

/**
 * Which images are a layer on top of the machine's own root filesystem: those that `commit` made here of containers of it. Nothing but a row
 * here says so, never a document of an image, and it goes with the image: what comes back from elsewhere is its layer alone.
 */
export const HOST_IMAGE_SCHEMA = `
CREATE TABLE host_image (
  image TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;
CREATE TRIGGER host_image_goes AFTER DELETE ON image BEGIN
  DELETE FROM host_image WHERE image = OLD.digest;
END;
`
