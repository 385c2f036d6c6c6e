/* Stand-in: keys that stay as they are defined. */
#ifndef STAND_IN_JUMP_LABEL_H
#define STAND_IN_JUMP_LABEL_H

#include <linux/compiler.h>
#include <linux/types.h>

struct static_key_false {
    bool enabled;
};
#define DEFINE_STATIC_KEY_FALSE(name) struct static_key_false name
#define DECLARE_STATIC_KEY_FALSE(name) extern struct static_key_false name
#define static_branch_likely(key) ((key)->enabled)

#endif
