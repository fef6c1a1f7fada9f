// SPDX-License-Identifier: Apache-2.0

//go:build openssl && linux && cgo

package fips

/*
#cgo LDFLAGS: -ldl
#include <dlfcn.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

// The parameter record and the entry points of provider.h and params.h, declared here so that no OpenSSL header is needed.
typedef struct {
	const char *key;
	unsigned int type;
	void *data;
	size_t size;
	size_t returned;
} sluice_param;

enum { SLUICE_UTF8_PTR = 6 };

// sluice_fips_provider asks an already loaded FIPS provider for its name, version and self-test. It loads nothing: when
// libcrypto or the provider is not there, it returns 0.
static int sluice_fips_provider(const char *library, char *name, char *version, size_t size, int *passed) {
	void *handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
	if (handle == NULL) return 0;
	int (*available)(void *, const char *) = (int (*)(void *, const char *))dlsym(handle, "OSSL_PROVIDER_available");
	void *(*load)(void *, const char *, int) = (void *(*)(void *, const char *, int))dlsym(handle, "OSSL_PROVIDER_try_load");
	int (*get)(void *, sluice_param *) = (int (*)(void *, sluice_param *))dlsym(handle, "OSSL_PROVIDER_get_params");
	int (*test)(void *) = (int (*)(void *))dlsym(handle, "OSSL_PROVIDER_self_test");
	int (*unload)(void *) = (int (*)(void *))dlsym(handle, "OSSL_PROVIDER_unload");
	int found = 0;
	if (available && load && get && test && unload && available(NULL, "fips") == 1) {
		void *provider = load(NULL, "fips", 1);
		if (provider != NULL) {
			char *n = NULL, *v = NULL;
			sluice_param params[3] = {
				{ "name", SLUICE_UTF8_PTR, &n, 0, 0 },
				{ "version", SLUICE_UTF8_PTR, &v, 0, 0 },
				{ NULL, 0, NULL, 0, 0 },
			};
			if (get(provider, params) == 1 && n != NULL && v != NULL) {
				strncpy(name, n, size - 1);
				strncpy(version, v, size - 1);
				*passed = test(provider);
				found = 1;
			}
			unload(provider);
		}
	}
	dlclose(handle);
	return found;
}
*/
import "C"

import "unsafe"

// readProvider asks the FIPS provider about itself: neither version of the binding has an API for it.
func readProvider() provider {
	const size = 128
	var name, version [size]C.char
	var passed C.int
	library := C.CString(libcrypto)
	defer C.free(unsafe.Pointer(library))
	if C.sluice_fips_provider(library, &name[0], &version[0], size, &passed) != 1 {
		return provider{}
	}
	return provider{
		known:    true,
		name:     C.GoString(&name[0]),
		version:  C.GoString(&version[0]),
		selfTest: passed == 1,
	}
}
