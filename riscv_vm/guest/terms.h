/* What a contract fixes: a page of the image, zero in the ELF and replaced by whoever loads it
 * (riscv_vm.image.with_terms). It lies in the data segment's first page, at symbol `terms`. */
#ifndef TERMS_H
#define TERMS_H

#include "guest.h"

enum { TERMS_PAGE = 4096 };

extern const uint8_t terms[TERMS_PAGE];

#endif
