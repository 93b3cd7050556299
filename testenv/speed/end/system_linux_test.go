package end

import "testing"

func TestBusy(t *testing.T) {
	//          user nice system idle iowait irq softirq steal guest
	stat := "cpu  100 200 300 4000 500 60 70 800 9\ncpu0 1 2 3 4 5 6 7 8 9\n"
	if got := busy([]byte(stat)); got < 7.29 || got > 7.31 {
		t.Errorf("%v s, want 7.3", got)
	}
	if busy(nil) != 0 {
		t.Error("something from nothing")
	}
}
