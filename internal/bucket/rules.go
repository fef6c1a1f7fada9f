// SPDX-License-Identifier: Apache-2.0

package bucket

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
)

// rulesFile keeps the object with the ignore rules apart from the others: it is needed for every listing, they are not.
const rulesFile = "rules"

// MaxRules bounds the ignore rules of a bucket, in bytes.
const MaxRules = 256 << 10

// rulesHeading is the first line of rulesFile.
type rulesHeading struct {
	From string `json:"from"`
	ETag string `json:"etag"`
}

// Rules returns the ignore rules that were put for an object as it was listed, and false where they have to be fetched.
func (h *Hold) Rules(o Object) ([]byte, bool) {
	f, err := h.root.Open(rulesFile)
	if err != nil {
		return nil, false
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxRules+4096))
	if err != nil {
		return nil, false
	}
	first, text, _ := bytes.Cut(data, []byte("\n"))
	var is rulesHeading
	if json.Unmarshal(first, &is) != nil || is != (rulesHeading{h.from, o.ETag}) || int64(len(text)) != o.Size {
		return nil, false
	}
	return text, true
}

// PutRules keeps ignore rules.
func (h *Hold) PutRules(o Object, text []byte) error {
	first, err := json.Marshal(rulesHeading{h.from, o.ETag})
	if err != nil {
		return err
	}
	const tmp = tmpFolder + "/" + rulesFile
	err = h.root.WriteFile(tmp, append(append(first, '\n'), text...), modeFile)
	if err == nil {
		err = h.root.Rename(tmp, rulesFile)
	}
	if err != nil {
		return errors.Join(storage("write", err), h.discard(tmp))
	}
	return nil
}

// RemoveHold removes a folder with all that is held in it.
func RemoveHold(dir string) error {
	if err := os.RemoveAll(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return storage("remove", err)
	}
	return nil
}
