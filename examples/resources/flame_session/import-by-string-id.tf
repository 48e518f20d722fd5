# The token is read from the environment variable FLAME_TOKEN, and verified.
import {
  to = flame_session.reports
  id = "env:FLAME_TOKEN"
}
