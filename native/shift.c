/* Ids of an image as ids of the host, where no idmapped mount does it: of owners, of POSIX ACLs, and of the root that a
 * file capability holds for. */
#include "exec.h"

#include <errno.h>
#include <string.h>

#define UNMAPPED_ID 65534 /* what the kernel shows for ids without a mapping (fs.overflowuid) */

#define CAPABILITY_REVISION_MASK 0xff000000u
#define CAPABILITY_REVISION_2 0x02000000u
#define CAPABILITY_REVISION_3 0x03000000u
#define CAPABILITY_2_BYTES 20 /* struct vfs_cap_data of <linux/capability.h>; revision 3 has the root's id behind it */
#define CAPABILITY_3_BYTES 24

#define ACL_HEADER_BYTES 4 /* struct posix_acl_xattr_header of <linux/posix_acl_xattr.h> */
#define ACL_ENTRY_BYTES 8  /* u16 tag, u16 permissions, u32 id */
#define ACL_USER 0x02
#define ACL_GROUP 0x08

uint32_t shift_id(const struct id_shift *shift, uint32_t id)
{
    if (shift->count == 0)
        return id;
    return id < shift->count ? (uint32_t)(shift->start + id) : UNMAPPED_ID;
}

static ssize_t shift_capability(const struct id_shift *shift, char *value, size_t bytes)
{
    uint32_t magic, root = 0;
    if (bytes < CAPABILITY_2_BYTES)
        return (ssize_t)bytes;
    memcpy(&magic, value, sizeof magic);
    uint32_t revision = magic & CAPABILITY_REVISION_MASK;
    if (revision == CAPABILITY_REVISION_3 && bytes == CAPABILITY_3_BYTES)
        memcpy(&root, value + CAPABILITY_2_BYTES, sizeof root);
    else if (revision != CAPABILITY_REVISION_2)
        return (ssize_t)bytes;
    magic = (magic & ~CAPABILITY_REVISION_MASK) | CAPABILITY_REVISION_3;
    root = shift_id(shift, root);
    memcpy(value, &magic, sizeof magic);
    memcpy(value + CAPABILITY_2_BYTES, &root, sizeof root);
    return CAPABILITY_3_BYTES;
}

static void shift_acl(const struct id_shift *shift, char *value, size_t bytes)
{
    for (size_t at = ACL_HEADER_BYTES; at + ACL_ENTRY_BYTES <= bytes; at += ACL_ENTRY_BYTES) {
        uint16_t tag;
        uint32_t id;
        memcpy(&tag, value + at, sizeof tag);
        memcpy(&id, value + at + 4, sizeof id);
        if (tag != ACL_USER && tag != ACL_GROUP)
            continue;
        id = shift_id(shift, id);
        memcpy(value + at + 4, &id, sizeof id);
    }
}

ssize_t shift_xattr(const struct id_shift *shift, const char *name, char *value, size_t bytes)
{
    if (shift->count == 0)
        return (ssize_t)bytes;
    if (!strcmp(name, "security.capability"))
        return shift_capability(shift, value, bytes);
    if (!strncmp(name, "system.posix_acl_", 17))
        shift_acl(shift, value, bytes);
    return (ssize_t)bytes;
}
