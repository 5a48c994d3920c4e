package api

import "time"

// The questions about firmware. The MDMS answers them.
const (
	QueryImagePut      = "image-put"       // ImagePart -> Image, of which only the answer to the last part is one
	QueryImage         = "image"           // ByID -> Image
	QueryImages        = "images"          // struct{} -> Page[Image]
	QueryImageDelete   = "image-delete"    // ImageDelete -> Image, as it was
	QueryRollOutCreate = "roll-out-create" // RollOutRequest -> RollOut
	QueryRollOutDo     = "roll-out-do"     // RollOutAction -> RollOut
	QueryRollOut       = "roll-out"        // ByID -> RollOut
	QueryRollOuts      = "roll-outs"       // RollOutQuery -> Page[RollOut]
	QueryRollOutMeters = "roll-out-meters" // RollOutMeterQuery -> Page[RollOutMeter]
)

// Image is a firmware image that the centre keeps.
type Image struct {
	ID       string    `json:"id"` // 16 hexadecimal digits
	Version  string    `json:"version" doc:"Such as 1.2.3."`
	Model    string    `json:"model" doc:"The meters it is for."`
	Size     uint32    `json:"size" doc:"Bytes."`
	SHA256   string    `json:"sha256"`
	Key      string    `json:"key" doc:"The public key that signed it, 64 hexadecimal digits; a meter takes it only if it was given this key."`
	MayGo    bool      `json:"mayGoBack,omitempty" doc:"It may replace a newer version."`
	Uploaded time.Time `json:"uploaded"` // business time
	By       string    `json:"by,omitempty"`
}

// ImagePart is a part of the file of a signed image on its way in.
type ImagePart struct {
	Session string `json:"session"`
	Number  int    `json:"number"` // from 0
	Data    []byte `json:"data"`
	Last    bool   `json:"last,omitempty"`
	By      string `json:"by,omitempty"`
}

// ImageDelete asks for an image to be kept no longer.
type ImageDelete struct {
	ID string `json:"id"`
	By string `json:"by,omitempty"`
}

// The states of a roll-out. Finished ones are from Done on.
const (
	RollOutPending   = "pending-approval"
	RollOutRunning   = "running"
	RollOutPaused    = "paused"
	RollOutDone      = "done"
	RollOutCancelled = "cancelled"
	RollOutExpired   = "expired"
)

// The states of a meter in a roll-out. Finished ones are from Activated on.
const (
	UpdateWaiting   = "waiting"   // it was not offered the image yet
	UpdateOffered   = "offered"   // and has not answered
	UpdateReceiving = "receiving" // blocks
	UpdateVerified  = "verified"  // it has the whole image, and waits for its time
	UpdateActivated = "activated" // it runs
	UpdateRefused   = "refused"
	UpdateFailed    = "failed"
	UpdateCancelled = "cancelled"
	UpdateExpired   = "expired"
)

// RollOutRequest asks for a roll-out of an image to meters.
type RollOutRequest struct {
	Image  string `json:"image" pattern:"^[0-9a-f]{16}$" patternDescription:"16 hexadecimal digits" doc:"The image's id."`
	Target Target `json:"target"`
	// ActivateAt is when the meters activate it, by their clocks.
	ActivateAt *time.Time `json:"activateAt,omitempty" doc:"When meters that have it activate it, by their clocks; when absent as soon as they have verified it."`
	OnCommand  bool       `json:"onCommand,omitempty" doc:"They activate it only when a command firmware-activate comes."`
	BlockSize  int        `json:"blockSize,omitempty" minimum:"64" maximum:"2048" doc:"Bytes of the image in one message; when absent 512. Choose what the narrowest link carries."`
	Rate       int        `json:"rate,omitempty" minimum:"100" maximum:"10000000" doc:"Bytes a second below one concentrator; when absent 8,192."`
	First      float64    `json:"first,omitempty" minimum:"0" maximum:"100" doc:"Per cent of the meters that get it first, one at least; the others follow once these have ended. When absent all at once."`
	// MaxFailures is what part of the first ones may fail or refuse.
	MaxFailures float64 `json:"maxFailures,omitempty" minimum:"0" maximum:"100" doc:"Per cent of the first meters that may refuse it or fail; with more the roll-out pauses. When absent none may."`
	ExpiresIn   int     `json:"expiresIn,omitempty" minimum:"60" maximum:"2592000" doc:"Seconds, 30 days at most; when absent 14 days. No meter activates the image after that."`
	By          string  `json:"by,omitempty"` // who asked; set by the server
}

// RollOut is a roll-out and how far it is.
type RollOut struct {
	ID          string          `json:"id"` // decimal
	Image       string          `json:"image"`
	Version     string          `json:"version"`
	Model       string          `json:"model"`
	Target      Target          `json:"target"`
	State       string          `json:"state" enum:"pending-approval,running,paused,done,cancelled,expired"`
	By          string          `json:"by,omitempty"`
	Created     time.Time       `json:"created"` // wall time
	Expires     time.Time       `json:"expires"` // wall time
	ActivateAt  *time.Time      `json:"activateAt,omitempty"`
	OnCommand   bool            `json:"onCommand,omitempty"`
	BlockSize   int             `json:"blockSize"`
	Rate        int             `json:"rate"`
	First       float64         `json:"first,omitempty"`
	MaxFailures float64         `json:"maxFailures,omitempty"`
	Approval    *Approval       `json:"approval,omitempty"`
	History     []Transition    `json:"history"`
	Progress    RollOutProgress `json:"progress"`
}

// RollOutProgress adds up the meters of a roll-out.
type RollOutProgress struct {
	Total    int            `json:"total"`
	First    int            `json:"first,omitempty" doc:"How many of them get it first."`
	States   map[string]int `json:"states"`
	Reasons  map[string]int `json:"reasons,omitempty" doc:"Of those that refused it or failed."`
	Received float64        `json:"received" doc:"Per cent of all bytes that the meters have, as far as they have told."`
	Blocks   int64          `json:"blocks" doc:"Blocks sent since the centre was started, one to many counted once."`
	Bytes    int64          `json:"bytes" doc:"Of these blocks and of offers."`
}

// RollOutMeter is one meter's part in a roll-out.
type RollOutMeter struct {
	Meter   string    `json:"meter"`
	Path    string    `json:"path"`
	State   string    `json:"state" enum:"waiting,offered,receiving,verified,activated,refused,failed,cancelled,expired"`
	Reason  string    `json:"reason,omitempty" enum:"unsupported,signature,model,version,room,memory,hash,did-not-start,not-activated,expired"`
	Changed time.Time `json:"changed"` // business time
}

// RollOutAction changes a roll-out.
type RollOutAction struct {
	ID      string `json:"id"`
	Action  string `json:"action"` // pause, resume, cancel, approve, reject
	Comment string `json:"comment,omitempty"`
	By      string `json:"by,omitempty"` // set by the server
}

// RollOutQuery selects roll-outs; Open only those that have not ended.
type RollOutQuery struct {
	Paging
	Open bool `json:"open,omitempty"`
}

// RollOutMeterQuery selects meters of a roll-out, by id of the roll-out and, if State is set, by state.
type RollOutMeterQuery struct {
	Paging
	ID    string `json:"id"`
	State string `json:"state,omitempty"`
}
