package provider

import (
	"context"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework-timetypes/timetypes"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
)

// sessionModel is flame_session in configuration, plan and state.
type sessionModel struct {
	User              types.String
	Password          types.String
	PasswordWO        types.String
	PasswordWOVersion types.Int64
	RotateAfter       timetypes.GoDuration
	RotateWhenChanged types.Map
	RevokeOnDestroy   types.Bool
	Timeouts          timeouts.Value
	ID                types.String
	AuthToken         types.String
	UserID            types.String
	Email             types.String
	FullName          types.String
	Endpoint          types.String
	CreatedAt         timetypes.RFC3339
	RotateAt          timetypes.RFC3339

	attributes map[string]attr.Type // of the schema
}

// read takes over a configuration, plan or state. It goes by way of an object,
// because the framework compiles a regular expression for each field of a struct
// that it fills, each time, which took a third of the provider's time.
func (m *sessionModel) read(ctx context.Context, from interface {
	Get(ctx context.Context, target any) diag.Diagnostics
},
) diag.Diagnostics {
	var object types.Object
	diags := from.Get(ctx, &object)
	if diags.HasError() {
		return diags
	}
	m.attributes = object.AttributeTypes(ctx)
	values := object.Attributes()
	read := take(&m.User, values["user"]) &&
		take(&m.Password, values["password"]) &&
		take(&m.PasswordWO, values["password_wo"]) &&
		take(&m.PasswordWOVersion, values["password_wo_version"]) &&
		take(&m.RotateAfter, values["rotate_after"]) &&
		take(&m.RotateWhenChanged, values["rotate_when_changed"]) &&
		take(&m.RevokeOnDestroy, values["revoke_on_destroy"]) &&
		take(&m.Timeouts, values["timeouts"]) &&
		take(&m.ID, values["id"]) &&
		take(&m.AuthToken, values["auth_token"]) &&
		take(&m.UserID, values["user_id"]) &&
		take(&m.Email, values["email"]) &&
		take(&m.FullName, values["full_name"]) &&
		take(&m.Endpoint, values["endpoint"]) &&
		take(&m.CreatedAt, values["created_at"]) &&
		take(&m.RotateAt, values["rotate_at"])
	if !read {
		diags.AddError("The schema does not fit", "An attribute of flame_session has another type than the provider expects, which is a defect of the provider. Report it to its developers.")
	}
	return diags
}

func take[T attr.Value](to *T, value attr.Value) (ok bool) {
	*to, ok = value.(T)
	return ok
}

// write puts what was read, and changed since, into a plan or state.
func (m *sessionModel) write(ctx context.Context, to interface {
	Set(ctx context.Context, value any) diag.Diagnostics
},
) diag.Diagnostics {
	object, diags := types.ObjectValue(m.attributes, map[string]attr.Value{
		"user":                m.User,
		"password":            m.Password,
		"password_wo":         m.PasswordWO,
		"password_wo_version": m.PasswordWOVersion,
		"rotate_after":        m.RotateAfter,
		"rotate_when_changed": m.RotateWhenChanged,
		"revoke_on_destroy":   m.RevokeOnDestroy,
		"timeouts":            m.Timeouts,
		"id":                  m.ID,
		"auth_token":          m.AuthToken,
		"user_id":             m.UserID,
		"email":               m.Email,
		"full_name":           m.FullName,
		"endpoint":            m.Endpoint,
		"created_at":          m.CreatedAt,
		"rotate_at":           m.RotateAt,
	})
	if diags.HasError() {
		return diags
	}
	return to.Set(ctx, object)
}

// fill takes over what Flame answered when the session was opened at a time.
func (m *sessionModel) fill(s flame.Session, opened time.Time) diag.Diagnostics {
	m.AuthToken = types.StringValue(s.Token)
	m.ID = types.StringValue(flame.SessionID(s.Token))
	m.UserID = textOrNull(s.UserID)
	m.Email = textOrNull(s.Email)
	m.FullName = textOrNull(s.FullName)
	m.CreatedAt = timestamp(opened)
	return m.setRotateAt()
}

// setRotateAt computes when the session is due to be replaced: null without
// rotate_after, unknown while that is unknown.
func (m *sessionModel) setRotateAt() diag.Diagnostics {
	switch {
	case m.RotateAfter.IsNull():
		m.RotateAt = timetypes.NewRFC3339Null()
		return nil
	case m.RotateAfter.IsUnknown(), m.CreatedAt.IsUnknown(), m.CreatedAt.IsNull():
		m.RotateAt = timetypes.NewRFC3339Unknown()
		return nil
	}
	created, diags := m.CreatedAt.ValueRFC3339Time()
	after, moreDiags := m.RotateAfter.ValueGoDuration()
	diags.Append(moreDiags...)
	m.RotateAt = timestamp(created.Add(after))
	return diags
}

// due reports whether the session is to be replaced at a time.
func (m *sessionModel) due(now time.Time) (bool, diag.Diagnostics) {
	if m.RotateAt.IsNull() || m.RotateAt.IsUnknown() {
		return false, nil
	}
	at, diags := m.RotateAt.ValueRFC3339Time()
	return !diags.HasError() && !now.Before(at), diags
}

// heldToken gives the session's token and where it belongs.
func (m *sessionModel) heldToken() heldToken {
	return heldToken{m.Endpoint.ValueString(), m.AuthToken.ValueString()}
}

// account gives whose session it is.
func (m *sessionModel) account() account {
	return account{m.Endpoint.ValueString(), m.User.ValueString()}
}

// textOrNull gives null for what Flame did not answer.
func textOrNull(s string) types.String {
	if s == "" {
		return types.StringNull()
	}
	return types.StringValue(s)
}

// timestamp gives a time in UTC, to the second: an RFC 3339 text that people read.
func timestamp(t time.Time) timetypes.RFC3339 {
	return timetypes.NewRFC3339TimeValue(t.UTC().Truncate(time.Second))
}

// within gives a context that ends when the operation's time limit does.
func within(ctx context.Context, limit func(context.Context, time.Duration) (time.Duration, diag.Diagnostics), preset time.Duration, diags *diag.Diagnostics) (context.Context, context.CancelFunc) {
	d, moreDiags := limit(ctx, preset)
	diags.Append(moreDiags...)
	return context.WithTimeout(ctx, d)
}
