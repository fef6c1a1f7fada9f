// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"strings"
)

// shownCode is what is repeated of an error that a cloud tells. No credential has this form.
var shownCode = newPattern(`([A-Za-z][A-Za-z0-9_-]+)`, 48)

// errorCode finds the code of an error in an answer, whichever cloud's it is. Empty means that there is none.
func errorCode(header http.Header, data []byte) string {
	for _, code := range []string{header.Get("X-Amzn-Errortype"), queryCode(data), jsonCode(data)} {
		code, _, _ = strings.Cut(code, ":") // AWS adds where the code is explained
		if _, name, ok := strings.Cut(code, "#"); ok {
			code = name // or puts the service before it
		}
		if shownCode.matches(code) {
			return code
		}
	}
	return ""
}

// queryCode reads the XML of AWS' older services.
func queryCode(data []byte) string {
	var answer struct {
		Code string `xml:"Error>Code"`
	}
	_ = xml.Unmarshal(data, &answer) // what is no XML has no code
	return answer.Code
}

// jsonCode reads what the others say: AWS a type, OAuth a word and Entra a number beside it, the APIs of Google and Azure an object.
func jsonCode(data []byte) string {
	var answer struct {
		Error json.RawMessage `json:"error"`
		Codes []int           `json:"error_codes"`
		Type  string          `json:"__type"`
	}
	if json.Unmarshal(data, &answer) != nil {
		return ""
	}
	if answer.Type != "" {
		return answer.Type
	}
	if len(answer.Codes) > 0 {
		return fmt.Sprintf("AADSTS%d", answer.Codes[0])
	}
	var word string
	if json.Unmarshal(answer.Error, &word) == nil {
		return word
	}
	var object struct {
		Status string `json:"status"`
		Code   any    `json:"code"`
	}
	if json.Unmarshal(answer.Error, &object) != nil {
		return ""
	}
	if text, ok := object.Code.(string); ok && object.Status == "" {
		return text
	}
	return object.Status
}
