package cli

import (
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
)

// Keys of firmware are files of one line: the public key, or the seed of the private one, as 64 hexadecimal digits, behind a word that
// tells them apart.
const (
	publicKeyWord  = "wattbus-firmware-public "
	privateKeyWord = "wattbus-firmware-private "
)

// firmwarePublicKey reads a public key: 64 hexadecimal digits, or the file of one.
func firmwarePublicKey(s string) (ed25519.PublicKey, error) {
	if b, err := hex.DecodeString(s); err == nil && len(b) == ed25519.PublicKeySize {
		return b, nil
	}
	return readFirmwareKey(s, publicKeyWord)
}

func firmwarePrivateKey(path string) (ed25519.PrivateKey, error) {
	seed, err := readFirmwareKey(path, privateKeyWord)
	if err != nil {
		return nil, err
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

func readFirmwareKey(path, word string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	digits, ok := strings.CutPrefix(strings.TrimSpace(string(text)), word)
	b, err := hex.DecodeString(digits)
	if !ok || err != nil || len(b) != ed25519.SeedSize {
		return nil, fmt.Errorf("%s: want one line, %q and 64 hexadecimal digits, as wattbus firmware key makes it", path, strings.TrimSpace(word))
	}
	return b, nil
}
