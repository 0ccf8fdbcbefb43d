/* SPDX-License-Identifier: MIT */
#include "common/plan/msgpack.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "common/backend_parts.h"

enum kind {
	KIND_NONE, /* what JSON does not have */
	KIND_NULL,
	KIND_FALSE,
	KIND_TRUE,
	KIND_UNSIGNED,
	KIND_SIGNED,
	KIND_FLOAT,
	KIND_STRING,
	KIND_LIST,
	KIND_MAP,
};

/* What is left to read. */
struct input {
	const unsigned char *at;
	size_t len;
	unsigned int depth; /* how much deeper it may go */
};

/* A value, or with KIND_STRING, KIND_LIST and KIND_MAP how many bytes, values or pairs follow. */
struct head {
	enum kind kind;
	uint64_t value;
	unsigned int size; /* bytes of value in the input */
};

static int take_number(struct input *in, unsigned int size, uint64_t *ret)
{
	uint64_t value = 0;

	if (in->len < size)
		return -EOPNOTSUPP;
	for (unsigned int i = 0; i < size; i++)
		value = value << 8 | in->at[i];
	in->at += size;
	in->len -= size;
	*ret = value;
	return 0;
}

static int take_head(struct input *in, struct head *ret)
{
	static const struct {
		enum kind kind;
		unsigned int size;
	} kinds[] = {
		/* clang-format off */
		[0xc0 - 0xc0] = { KIND_NULL, 0 }, [0xc2 - 0xc0] = { KIND_FALSE, 0 }, [0xc3 - 0xc0] = { KIND_TRUE, 0 },
		[0xca - 0xc0] = { KIND_FLOAT, 4 }, { KIND_FLOAT, 8 },
		[0xcc - 0xc0] = { KIND_UNSIGNED, 1 }, { KIND_UNSIGNED, 2 }, { KIND_UNSIGNED, 4 }, { KIND_UNSIGNED, 8 },
		[0xd0 - 0xc0] = { KIND_SIGNED, 1 }, { KIND_SIGNED, 2 }, { KIND_SIGNED, 4 }, { KIND_SIGNED, 8 },
		[0xd9 - 0xc0] = { KIND_STRING, 1 }, { KIND_STRING, 2 }, { KIND_STRING, 4 },
		[0xdc - 0xc0] = { KIND_LIST, 2 }, { KIND_LIST, 4 },
		[0xde - 0xc0] = { KIND_MAP, 2 }, { KIND_MAP, 4 },
		/* clang-format on */
	};
	uint64_t byte;
	int r;

	r = take_number(in, 1, &byte);
	if (r < 0)
		return r;
	if (byte < 0x80)
		*ret = (struct head){ .kind = KIND_UNSIGNED, .value = byte };
	else if (byte < 0x90)
		*ret = (struct head){ .kind = KIND_MAP, .value = byte & 0x0f };
	else if (byte < 0xa0)
		*ret = (struct head){ .kind = KIND_LIST, .value = byte & 0x0f };
	else if (byte < 0xc0)
		*ret = (struct head){ .kind = KIND_STRING, .value = byte & 0x1f };
	else if (byte >= 0xe0)
		*ret = (struct head){ .kind = KIND_SIGNED, .value = byte, .size = 1 };
	else {
		*ret = (struct head){ .kind = kinds[byte - 0xc0].kind,
				      .size = kinds[byte - 0xc0].size };
		return take_number(in, ret->size, &ret->value);
	}
	return 0;
}

static json_t *make_signed(const struct head *head)
{
	switch (head->size) {
	case 1: return json_integer((int8_t)head->value);
	case 2: return json_integer((int16_t)head->value);
	case 4: return json_integer((int32_t)head->value);
	default: return json_integer((json_int_t)head->value);
	}
}

/* json_real() gives none for what is no number. */
static json_t *make_float(const struct head *head)
{
	const uint32_t bits = (uint32_t)head->value;
	double wide;
	float narrow;

	memcpy(&wide, &head->value, sizeof(wide));
	memcpy(&narrow, &bits, sizeof(narrow));
	return json_real(head->size == sizeof(narrow) ? (double)narrow : wide);
}

static json_t *make_string(struct input *in, uint64_t len)
{
	json_t *string;

	if (len > in->len)
		return NULL;
	string = json_stringn((const char *)in->at, (size_t)len);
	in->at += len;
	in->len -= (size_t)len;
	return string;
}

static int take_value(struct input *in, json_t **ret);

/* A name, lent from *@ret_holder. */
static int take_name(struct input *in, json_t **ret_holder, const char **ret)
{
	struct head head;
	int r;

	r = take_head(in, &head);
	if (r < 0)
		return r;
	*ret_holder = head.kind == KIND_STRING ? make_string(in, head.value) : NULL;
	*ret = json_string_value(*ret_holder);
	return *ret && strlen(*ret) == head.value ? 0 : -EOPNOTSUPP;
}

static int take_pair(struct input *in, json_t *map)
{
	CLEANUP(backend_json_freep) json_t *holder = NULL;
	json_t *value = NULL;
	const char *name = NULL;
	int r;

	r = take_name(in, &holder, &name);
	if (r >= 0)
		r = take_value(in, &value);
	if (r < 0)
		return r;
	return json_object_set_new(map, name, value) < 0 ? -ENOMEM : 0;
}

static int take_element(struct input *in, json_t *list)
{
	json_t *value = NULL;
	const int r = take_value(in, &value);

	if (r < 0)
		return r;
	return json_array_append_new(list, value) < 0 ? -ENOMEM : 0;
}

/* @count may be a lie; every element takes a byte at least, so the input's end is found in time. */
static int take_nested(struct input *in, bool is_map, uint64_t count, json_t **ret)
{
	CLEANUP(backend_json_freep) json_t *nested = is_map ? json_object() : json_array();
	int r = 0;

	if (!nested)
		return -ENOMEM;
	if (in->depth == 0)
		return -EOPNOTSUPP;
	in->depth--;
	for (uint64_t i = 0; i < count && r >= 0; i++)
		r = is_map ? take_pair(in, nested) : take_element(in, nested);
	in->depth++;
	if (r < 0)
		return r;
	*ret = TAKE_PTR(nested);
	return 0;
}

static int take_value(struct input *in, json_t **ret)
{
	json_t *value = NULL;
	struct head head;
	int r;

	r = take_head(in, &head);
	if (r < 0)
		return r;
	switch (head.kind) {
	case KIND_NONE: break;
	case KIND_NULL: value = json_null(); break;
	case KIND_FALSE: value = json_false(); break;
	case KIND_TRUE: value = json_true(); break;
	case KIND_UNSIGNED:
		if (head.value <= INT64_MAX)
			value = json_integer((json_int_t)head.value);
		break;
	case KIND_SIGNED: value = make_signed(&head); break;
	case KIND_FLOAT: value = make_float(&head); break;
	case KIND_STRING: value = make_string(in, head.value); break;
	case KIND_LIST:
	case KIND_MAP: return take_nested(in, head.kind == KIND_MAP, head.value, ret);
	}
	*ret = value;
	return value ? 0 : -EOPNOTSUPP;
}

int msgpack_to_json(json_t **ret, const void *data, size_t len, unsigned int depth_max)
{
	struct input in = { .at = data, .len = len, .depth = depth_max };
	CLEANUP(backend_json_freep) json_t *value = NULL;
	int r;

	assert(ret && data);

	r = take_value(&in, &value);
	if (r < 0)
		return r;
	if (in.len > 0)
		return -EOPNOTSUPP;
	*ret = TAKE_PTR(value);
	return 0;
}
