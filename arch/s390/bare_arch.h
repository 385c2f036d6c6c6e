/* s390x: QEMU's machine `s390-ccw-virtio`. */
#ifndef BARE_ARCH_H
#define BARE_ARCH_H

#define MACHINE_SEEN 0 /* the supervisor runs without address translation */

/* Assigned storage locations (z/Architecture Principles of Operation, "Assigned Storage Locations"), and where the
 * guest's registers are kept, which is used by nobody else. */
#define PROGRAM_CODE 0x8e
#define TRANSLATION_ADDRESS 0xa8
#define OLD_SVC 0x140
#define OLD_PROGRAM 0x150
#define NEW_SVC 0x1c0
#define NEW_PROGRAM 0x1d0
#define REGISTERS 0x200

#define FRAME_BYTES 160 /* where a callee saves registers */

#endif
